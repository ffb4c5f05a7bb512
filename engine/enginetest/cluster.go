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

// nodeClient asks again and again, by a connection for each request, until it has been served
// as often as it is told or a file is there. What it counts is its output.
const nodeClient = `
const fs = require('fs'), http = require('http')
const seen = {served: 0, failed: 0, why: {}, pids: {}, versions: {}}
const at = process.argv[2], where = at.startsWith('/') ? {socketPath: at} : {port: at, host: '127.0.0.1'}
const ask = done => http.get({...where, agent: false}, r => {
  let text = ''
  r.on('data', d => text += d).on('end', () => {
    const [, pid, version] = text.split(' ')
    seen.served++
    seen.pids[pid] = (seen.pids[pid] || 0) + 1
    seen.versions[version] = true
    done()
  })
}).on('error', e => { seen.failed++; seen.why[e.code] = true; setTimeout(done, 10) })
const limit = Number(process.argv[3]) || Infinity
const loop = () => seen.served >= limit || fs.existsSync('enough') ? undefined : ask(loop)
for (let i = 0; i < 8; i++) loop()
process.on('exit', () => { fs.writeFileSync('seen.tmp', JSON.stringify(seen)); fs.renameSync('seen.tmp', 'seen.json') })
`

// seen is what a client has counted.
type seen struct {
	Served, Failed int
	PIDs           map[string]int
	Why, Versions  map[string]bool
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

// load has a client ask a server, by a path or a port, until the returned function is called.
func (p *Project) load(at string) (count func() seen) {
	p.t.Helper()
	p.ask(at, 0)
	return func() seen {
		p.t.Helper()
		p.Write("enough", "")
		return p.counted()
	}
}

// ask has a client ask a server that often.
func (p *Project) ask(at string, requests int) {
	p.t.Helper()
	p.Write("client.js", nodeClient)
	p.Sh(`rm -f enough seen.json; setsid node client.js "$1" "$2" </dev/null >client.log 2>&1 &`, at, itoa(requests))
}

// counted waits for the end of the client.
func (p *Project) counted() (s seen) {
	p.t.Helper()
	p.Await("the client to end", func() bool { return p.Read("seen.json") != "" })
	if err := json.Unmarshal([]byte(p.Read("seen.json")), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// An app of PM2's, unmodified: its messages arrive, and no request is lost while its instances
// are restarted.
func reloadDropsNothing(p *Project) {
	p.Declare(p.server(2))
	p.Do("install")
	count := p.load(p.dir + "/app.sock")
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
	count := p.load(p.dir + "/app.sock")
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

// plainServer is one that knows nothing of any other, in Node and in Python.
const plainServer = `
const fs = require('fs'), me = process.env.NODE_APP_INSTANCE
if (me === '1' && fs.existsSync('bad')) process.exit(3)
require('http').createServer((q, s) => s.end(me + ' ' + process.pid + ' 1')).listen(Number(process.argv[2]), '127.0.0.1')
`

const pythonServer = `
import http.server, os, sys
me = os.environ['NODE_APP_INSTANCE']
if me == '1' and os.path.exists('bad'):
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f'{me} {os.getpid()} 1'.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
`

// Any program shares a port that nobody declared, as an ordinary user. One instance that is
// given up leaves the others alone.
func portIsShared(p *Project) {
	if strings.TrimSpace(p.Sh("id -u")) != "0" {
		p.t.Skip("only root attaches the program that has ports shared")
	}
	script, interpreter := "plain.js", "node"
	if strings.TrimSpace(p.Sh("command -v python3 || true")) != "" {
		script, interpreter = "plain.py", "python3"
	}
	p.Write("plain.js", plainServer)
	p.Write("plain.py", pythonServer)
	port := strings.TrimSpace(p.Sh(`node -e 'require("net").createServer().listen(0, "127.0.0.1", function () { console.log(this.address().port); this.close() })'`))
	p.Declare(App{
		"name": "web", "script": script, "args": port, "interpreter": interpreter, "exec_mode": "cluster", "instances": 3,
		"uid": "nobody", "min_uptime": 500, "max_restarts": 3,
	})
	p.Do("install")
	p.Await("three to listen", func() bool {
		return strings.TrimSpace(p.Sh(`grep -c ":$(printf %04X $1) .* 0A " /proc/net/tcp || true`, port)) == "3"
	})
	p.ask(port, 3000)
	s := p.counted()
	if s.Failed > 0 || len(s.PIDs) != 3 {
		p.t.Errorf("the client counted %+v\n%s", s, p.Read("client.log"))
	}
	for pid, n := range s.PIDs {
		if n < s.Served/9 {
			p.t.Errorf("of %d requests process %s had %d", s.Served, pid, n)
		}
	}

	before := p.PIDs("web")
	p.Write("bad", "")
	p.Kill("KILL", before[1])
	count := p.load(port)
	p.Await("one to be given up", func() bool { return p.Status("web") == "online errored online" })
	if s := count(); s.Failed > 0 || s.Served == 0 || len(s.PIDs) != 2 {
		p.t.Errorf("while one was given up the client counted %+v\n%s", s, p.Read("client.log"))
	}
	if now := p.PIDs("web"); len(now) != 2 || now[0] != before[0] || now[1] != before[2] {
		p.t.Errorf("of %v remain %v", before, now)
	}
	p.Sh("rm bad")
	p.Do("reload", p.App("web"))
	p.Expect(map[string]string{"web": "online online online"})
}
