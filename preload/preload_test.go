package preload

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nodes lists the Node versions that are here, by name: the one on PATH, and those that
// make test installs below $GM_NODES.
func nodes(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(os.Getenv("GM_NODES"), "node_modules/node[0-9][0-9]/bin/node"))
	for _, path := range paths {
		found[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
	}
	if path, err := exec.LookPath("node"); err == nil && len(found) == 0 {
		found["node"] = path
	}
	if len(found) == 0 {
		t.Skip("needs node")
	}
	return found
}

// eachNode runs a test with each version of Node, side by side.
func eachNode(t *testing.T, test func(t *testing.T, node string)) {
	for name, path := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, path)
		})
	}
}

// app is a Node program that runs with the script loaded.
type app struct {
	t       *testing.T
	dir     string
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string
	seen    []string
	sockets []*os.File
}

// newApp writes files: the first is the program.
func newApp(t *testing.T, features string, env ...string) *app {
	a := &app{t: t, dir: t.TempDir(), lines: make(chan string, 1000)}
	script := filepath.Join(a.dir, "preload-1.cjs")
	a.write("preload-1.cjs", string(Text))
	a.cmd = exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh")
	a.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.dir, "GM_PRELOAD=" + features, "NODE_OPTIONS=--require=" + script + " --no-warnings"}, env...)
	a.cmd.Dir = a.dir
	return a
}

func (a *app) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o755); err != nil {
		a.t.Fatal(err)
	}
}

// start runs a program with arguments.
func (a *app) start(argv ...string) {
	a.t.Helper()
	a.cmd.Args = append(a.cmd.Args, argv...)
	a.cmd.Env = append(a.cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(a.sockets)))
	a.cmd.ExtraFiles = a.sockets
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	a.cmd.Stderr = a.cmd.Stdout
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		a.t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	go func() {
		defer close(a.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			a.lines <- scan.Text()
		}
	}()
	a.t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	})
}

// await returns the line that matches, of those that came and those that come.
func (a *app) await(pattern string) string {
	a.t.Helper()
	want := regexp.MustCompile(pattern)
	if i := slices.IndexFunc(a.seen, want.MatchString); i >= 0 {
		return a.seen[i]
	}
	for limit := time.After(20 * time.Second); ; {
		select {
		case line, more := <-a.lines:
			if !more {
				a.t.Fatalf("it ended without %q:\n%s", pattern, strings.Join(a.seen, "\n"))
			}
			if a.seen = append(a.seen, line); want.MatchString(line) {
				return line
			}
		case <-limit:
			a.t.Fatalf("no %q:\n%s", pattern, strings.Join(a.seen, "\n"))
		}
	}
}

// hold opens a socket as a service manager does, and returns its port.
func (a *app) hold(network, address string) string {
	a.t.Helper()
	var file *os.File
	var port int
	switch network {
	case "tcp", "unix":
		l, err := net.Listen(network, address)
		if err != nil {
			a.t.Fatal(err)
		}
		defer l.Close()
		if tcp, ok := l.(*net.TCPListener); ok {
			port = tcp.Addr().(*net.TCPAddr).Port
			file, err = tcp.File()
		} else {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			file, err = l.(*net.UnixListener).File()
		}
		if err != nil {
			a.t.Fatal(err)
		}
	case "udp":
		l, err := net.ListenPacket("udp", address)
		if err != nil {
			a.t.Fatal(err)
		}
		defer l.Close()
		port = l.LocalAddr().(*net.UDPAddr).Port
		if file, err = l.(*net.UDPConn).File(); err != nil {
			a.t.Fatal(err)
		}
	}
	a.t.Cleanup(func() { file.Close() })
	a.sockets = append(a.sockets, file)
	return strconv.Itoa(port)
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// TestListen: whatever way a program asks for an address in, it has the socket that is held.
// Nobody else can have the address, so that an answer is proof.
func TestListen(t *testing.T) {
	hello := "(q, s) => s.end('hello')"
	for name, test := range map[string]struct{ file, text string }{
		"port":       {"a.js", `require('http').createServer(HELLO).listen(PORT, function () { console.log('listens', this.address().port) })`},
		"text":       {"a.js", `require('http').createServer(HELLO).listen('PORT', '127.0.0.1', 50, () => console.log('listens'))`},
		"options":    {"a.js", `require('http').createServer(HELLO).listen({port: PORT, host: '127.0.0.1'}).on('listening', () => console.log('listens'))`},
		"promise":    {"a.mjs", `import {createServer} from 'node:http'; import {once} from 'node:events'; const s = createServer(HELLO).listen(PORT); await once(s, 'listening'); console.log('listens')`},
		"import":     {"a.mjs", `import http from 'http'; http.createServer(HELLO).listen(PORT, () => console.log('listens'))`},
		"net":        {"a.js", `require('net').createServer(c => c.end('HTTP/1.0 200 OK\r\n\r\nhello')).listen(PORT, () => console.log('listens'))`},
		"subclass":   {"a.js", `class S extends require('http').Server {}; new S(HELLO).listen(PORT, () => console.log('listens'))`},
		"clustered":  {"a.js", `const c = require('cluster'); if (c.isPrimary) { c.fork(); c.on('listening', () => console.log('listens')) } else require('http').createServer(HELLO).listen(PORT)`},
		"not_twice":  {"a.js", `const h = require('http'); h.createServer(HELLO).listen(PORT, () => h.createServer(HELLO).listen(PORT).on('error', e => console.log('listens', e.code)))`},
		"other_port": {"a.js", `const h = require('http'); h.createServer(HELLO).listen(0, function () { if (this.address().port !== PORT) h.createServer(HELLO).listen(PORT, () => console.log('listens')) })`},
	} {
		t.Run(name, func(t *testing.T) {
			eachNode(t, func(t *testing.T, node string) {
				a := newApp(t, "listen")
				port := a.hold("tcp", "127.0.0.1:0")
				a.cmd.Env = append(a.cmd.Env, "GM_LISTEN=127.0.0.1:"+port)
				a.write(test.file, strings.NewReplacer("PORT", port, "HELLO", hello).Replace(test.text))
				a.start(node, test.file)
				a.await("^listens")
				if got := get(t, "http://127.0.0.1:"+port); got != "hello" {
					t.Errorf("it answers %q", got)
				}
			})
		})
	}
}

// TestListenKinds: several sockets, of all kinds, in any order.
func TestListenKinds(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "listen")
		path := filepath.Join(a.dir, "a b.sock")
		one := a.hold("tcp", "127.0.0.1:0")
		a.hold("unix", path)
		six := a.hold("tcp", "[::1]:0")
		udp := a.hold("udp", "127.0.0.1:0")
		a.cmd.Env = append(a.cmd.Env, fmt.Sprintf("GM_LISTEN=127.0.0.1:%s %s [::1]:%s udp:127.0.0.1:%s", one, strings.ReplaceAll(path, " ", "%20"), six, udp))
		a.write("a.js", fmt.Sprintf(`
const net = require('net'), left = new Set(['one', 'path', 'six', 'udp'])
const up = name => () => { left.delete(name); if (!left.size) console.log('all') }
const serve = name => net.createServer(c => c.end(name))
const udp = require('dgram').createSocket('udp4').on('message', (m, from) => udp.send('udp ' + m, from.port, from.address))
udp.bind(%s, '127.0.0.1', up('udp'))
serve('six').listen(%s, '::1', up('six'))
serve('path').listen(%q, up('path'))
serve('one').listen(%s, 'localhost', up('one'))`, udp, six, path, one))
		a.start(node, "a.js")
		a.await("^all$")
		for address, want := range map[string]string{"127.0.0.1:" + one: "one", "[::1]:" + six: "six", path: "path"} {
			network := "tcp"
			if address == path {
				network = "unix"
			}
			c, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(c); string(got) != want {
				t.Errorf("%s answers %q", address, got)
			}
			c.Close()
		}
		c, err := net.Dial("udp", "127.0.0.1:"+udp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "?")
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 100)
		if n, err := c.Read(buf); string(buf[:n]) != "udp ?" {
			t.Errorf("UDP answers %q, %v", buf[:n], err)
		}
	})
}

// TestListenElsewhere: the socket that was declared is what the app has, and it is told.
func TestListenElsewhere(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "listen")
		port := a.hold("tcp", ":0")
		a.cmd.Env = append(a.cmd.Env, "GM_LISTEN="+port)
		a.write("a.js", `require('http').createServer((q, s) => s.end('hello')).listen(`+port+`, '127.0.0.1')`)
		a.start(node, "a.js")
		a.await(`^gm: the app asks for 127\.0\.0\.1, port ` + port + `; it has the declared socket, ` + port + `$`)
		if got := get(t, "http://[::1]:"+port); got != "hello" {
			t.Errorf("it answers %q", got)
		}
	})
}

// TestListenByShell: the sockets of a shell that starts Node are Node's.
func TestListenByShell(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "listen")
		port := a.hold("tcp", "127.0.0.1:0")
		a.cmd.Env = append(a.cmd.Env, "GM_LISTEN=127.0.0.1:"+port)
		a.write("a.js", `require('http').createServer((q, s) => s.end('hello')).listen(`+port+`, () => console.log('listens'))`)
		a.start("/bin/sh", "-c", node+" a.js; exit $?")
		a.await("^listens")
		if got := get(t, "http://127.0.0.1:"+port); got != "hello" {
			t.Errorf("it answers %q", got)
		}
	})
}

// TestReady: the message becomes a notification, once the app sends it.
func TestReady(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "ready", "NOTIFY_SOCKET=/somewhere", "GM_PROGRAM=./gm")
		a.write("gm", "#!/bin/sh\n"+`echo "gm $* $NOTIFY_SOCKET" >&2`+"\n")
		a.write("a.js", `
console.log('connected', process.connected, typeof process.send)
process.stdin.once('data', () => process.send('other') && process.send('ready', e => console.log('sent', e)))`)
		a.start(node, "a.js")
		a.await("^connected true function$")
		io.WriteString(a.in, "go\n")
		a.await("^sent null$")
		a.await("^gm notify READY=1 /somewhere$")
	})
}

// TestShutdown: the stop signal is the message, and no signal; what the app does then ends it.
func TestShutdown(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "shutdown")
		a.write("a.js", `
process.on('SIGINT', () => console.log('signal'))
process.on('message', m => { console.log('message', m); if (m === 'shutdown') setTimeout(() => process.exit(7), 100) })
setInterval(() => {}, 1000)
console.log('up')`)
		a.start(node, "a.js")
		a.await("^up$")
		if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		a.await("^message shutdown$")
		for line := range a.lines {
			if line == "signal" {
				t.Error("the app saw the signal")
			}
		}
		if err := a.cmd.Wait(); a.cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("it ended by %v", err)
		}
	})
}

// TestShutdownUnheard: an app that does not listen is left alone, as PM2 does, until it is killed.
func TestShutdownUnheard(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "shutdown")
		a.write("a.js", `process.stdin.on('data', () => console.log('lives')); console.log('up')`)
		a.start(node, "a.js")
		a.await("^up$")
		a.cmd.Process.Signal(syscall.SIGINT)
		io.WriteString(a.in, "still there?\n")
		a.await("^lives$")
	})
}

// TestEnvironment: the app and its children see what was declared, and npm passes it on.
func TestEnvironment(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		a := newApp(t, "ready,listen", "GM_PROGRAM=./gm", "GM_LISTEN=1234")
		a.write("a.js", `
const names = Object.keys(process.env).filter(n => n.startsWith('GM_'))
console.log('parent', names.length, process.env.NODE_OPTIONS, typeof process.send)
new (require('worker_threads').Worker)('console.log("worker", typeof process.send)', {eval: true}).on('exit', () => {
  require('child_process').execFile(process.execPath, ['-p', '["child", typeof process.send, process.env.NODE_OPTIONS].join()'], (e, out) => console.log(out))
})`)
		a.write("npm-cli.js", `require('child_process').spawnSync(process.execPath, ['a.js'], {stdio: 'inherit'})`)
		a.start(node, "./npm-cli.js")
		a.await("^parent 0 --no-warnings function$")
		a.await("^worker undefined$")
		a.await("^child,undefined,--no-warnings$")
	})
}

// TestReusePort: two processes have one port, where Node can; where it cannot that is told.
func TestReusePort(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		version, err := exec.Command(node, "-p", "process.versions.node").Output()
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(version), ".")
		major, _ := strconv.Atoi(parts[0])
		seen := []string{}
		for i := range 2 {
			a := newApp(t, "reuseport")
			a.write("a.js", fmt.Sprintf(`require('http').createServer((q, s) => s.end('%d')).listen(%d, '127.0.0.1', () => console.log('listens'))`, i, port))
			a.start(node, "a.js")
			if major < 22 {
				a.await("has no reusePort")
				return
			}
			a.await("^listens$")
		}
		for range 200 {
			if got := get(t, fmt.Sprintf("http://127.0.0.1:%d", port)); !slices.Contains(seen, got) {
				seen = append(seen, got)
			}
			if len(seen) == 2 {
				return
			}
		}
		t.Errorf("of two only %v answers", seen)
	})
}
