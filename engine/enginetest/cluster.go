package enginetest

import (
	"encoding/json"
	"strings"
)

// nodeServer is a server as it is written for PM2: it says when it is ready, a while after it
// listens, and finishes what it has begun when it is told to end.
const nodeServer = `
const fs = require('fs'), me = process.env.NODE_APP_INSTANCE || '0', version = process.env.VERSION || '1'
if (process.env.BROKEN === 'throws') throw new Error('no such database')
const server = require('http').createServer((q, s) => setTimeout(() => s.end(me + ' ' + process.pid + ' ' + version), 5))
server.listen(process.env.AT, () => setTimeout(() => { if (process.env.BROKEN !== 'silent') process.send('ready') }, 200))
process.on('message', m => {
  fs.appendFileSync('messages.log', m + ' ' + me + '\n')
  server.close(() => process.exit(0))
})
`

// nodeClient asks again and again, by a connection for each request, until a file is there.
// What it counts is its output.
const nodeClient = `
const fs = require('fs'), http = require('http')
const seen = {served: 0, failed: 0, why: {}, pids: {}, versions: {}}
const ask = done => http.get({socketPath: process.argv[2], agent: false}, r => {
  let text = ''
  r.on('data', d => text += d).on('end', () => {
    const [, pid, version] = text.split(' ')
    seen.served++
    seen.pids[pid] = seen.versions[version] = true
    done()
  })
}).on('error', e => { seen.failed++; seen.why[e.code] = true; setTimeout(done, 10) })
const loop = () => fs.existsSync('enough') ? undefined : ask(loop)
for (let i = 0; i < 8; i++) loop()
process.on('exit', () => { fs.writeFileSync('seen.tmp', JSON.stringify(seen)); fs.renameSync('seen.tmp', 'seen.json') })
`

// seen is what a client has counted.
type seen struct {
	Served, Failed      int
	Why, PIDs, Versions map[string]bool
}

// server declares instances of nodeServer that share a socket.
func (p *Project) server(instances int) App {
	at := p.dir + "/app.sock"
	p.Write("server.js", nodeServer)
	web := App{
		"name": "web", "script": "server.js", "exec_mode": "cluster", "instances": instances, "min_uptime": 150,
		"wait_ready": true, "listen_timeout": 20000, "shutdown_with_message": true, "kill_timeout": 10000,
		"env": App{"AT": at}, "systemd": App{"listen": []string{at}},
	}
	if strings.TrimSpace(p.Sh("id -u")) == "0" {
		web["uid"] = "nobody" // who sees less of the machine
	}
	return web
}

// load has a client ask the server until the returned function is called.
func (p *Project) load() (count func() seen) {
	p.t.Helper()
	p.Write("client.js", nodeClient)
	p.Sh(`rm -f enough seen.json; setsid node client.js "$1/app.sock" </dev/null >client.log 2>&1 &`, p.dir)
	return func() (s seen) {
		p.t.Helper()
		p.Write("enough", "")
		p.Await("the client to end", func() bool { return p.Read("seen.json") != "" })
		if err := json.Unmarshal([]byte(p.Read("seen.json")), &s); err != nil {
			p.t.Fatal(err)
		}
		return s
	}
}

// An app of PM2's, unmodified: its messages arrive, and no request is lost while its instances
// are restarted.
func reloadDropsNothing(p *Project) {
	p.Declare(p.server(2))
	p.Do("install")
	count := p.load()
	for range 3 {
		before := p.PIDs("web")
		p.Do("reload", p.App("web"))
		p.Other("web", before)
	}
	web := p.server(2)
	web["env"].(App)["VERSION"] = "2"
	p.Declare(web)
	p.Do("install")
	if s := count(); s.Failed > 0 || s.Served < 100 || len(s.PIDs) < 8 || !s.Versions["2"] {
		p.t.Errorf("the client counted %+v\n%s", s, p.Read("client.log"))
	}
	if text := p.Do("logs", p.App("web"), "-n", "1000").Stdout; strings.Contains(text, "gm: error") {
		p.t.Errorf("gm complains in the app's log:\n%s", text)
	}
	p.Do("stop", p.App("web"))
	if got := strings.Count(p.Read("messages.log"), "shutdown"); got != 10 {
		p.t.Errorf("%d of 10 messages came:\n%s", got, p.Read("messages.log"))
	}
	p.Expect(map[string]string{"web": "stopped stopped"})
}

// A version that cannot serve takes the place of none that does.
func badVersionServesNothing(p *Project) {
	p.Declare(p.server(2))
	p.Do("install")
	count := p.load()
	for _, broken := range []string{"throws", "silent"} {
		web := p.server(2).With(App{"listen_timeout": 1500})
		web["env"].(App)["BROKEN"] = broken
		p.Declare(web)
		p.Fails(1, []string{"install"}, p.App("web"))
		p.Expect(map[string]string{"web": "online online"})
	}
	if s := count(); s.Failed > 0 || s.Served < 100 {
		p.t.Errorf("the client counted %+v\n%s", s, p.Read("client.log"))
	}
}
