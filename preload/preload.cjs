'use strict'
// What gm has Node load before an app that is written for PM2, by NODE_OPTIONS=--require:
// PM2's messages become systemd's protocol, and listen() takes a socket that systemd or gm's
// own supervisor holds. GM_PRELOAD names what is wanted:
//
//   ready      process.send('ready') tells that the app is ready: sd_notify(3), by GM_PROGRAM
//   shutdown   the stop signal arrives as process.on('message'), as 'shutdown'
//   listen     listen() of an address of GM_LISTEN takes its socket: sd_listen_fds(3)
//   reuseport  several processes may listen on one port: reusePort of listen()
//
// The first process of the app takes it. npm and its like only start that, and the
// processes that the app starts have an environment without any of this.

const {GM_PRELOAD, GM_LISTEN = '', GM_PROGRAM} = process.env
const starter = /(^|[\\/])(npm|npx|pnpm|pnpx|yarn|corepack)(-cli)?[-.\d]*(\.[cm]?js)?$/
if (GM_PRELOAD && require('worker_threads').isMainThread && !starter.test(process.argv[1] || '')) {
  leaveEnvironment()
  const wanted = new Set(GM_PRELOAD.split(','))
  if (wanted.has('ready') || wanted.has('shutdown')) emulateChannel(wanted)
  if (wanted.has('listen')) takeSockets()
  if (wanted.has('reuseport')) shareTCPPorts()
}

// say writes a line to the app's log.
function say(text) {
  process.stderr.write(`gm: ${text}\n`)
}

function leaveEnvironment() {
  delete process.env.GM_PRELOAD
  delete process.env.GM_LISTEN
  delete process.env.GM_PROGRAM
  const rest = (process.env.NODE_OPTIONS || '').replace(`--require=${__filename}`, '').trim()
  if (rest) process.env.NODE_OPTIONS = rest
  else delete process.env.NODE_OPTIONS
}

// emulateChannel stands for the channel that PM2 has with an app.
function emulateChannel(wanted) {
  if (process.send) return // there is one, to somebody else
  process.connected = true
  process.channel = {ref() {}, unref() {}, hasRef: () => false}
  process.send = function (message, ...rest) {
    const done = rest.pop()
    if (message === 'ready' && wanted.has('ready') && process.connected) notifyReady()
    if (typeof done === 'function') process.nextTick(done, null)
    return true
  }
  process.disconnect = function () {
    if (!process.connected) return
    process.connected = false
    process.channel = null
    process.nextTick(() => process.emit('disconnect'))
  }
  if (!wanted.has('shutdown')) return
  // PM2 sends the message in place of the signal, which handlers of the app do not see.
  const emit = process.emit
  process.emit = function (event, ...args) {
    if (event !== 'SIGINT') return emit.call(this, event, ...args)
    emit.call(this, 'message', 'shutdown', undefined)
    return true
  }
  process.on('SIGINT', () => {}) // else Node leaves the signal to the kernel
}

// notifyReady has gm tell it: Node cannot write to a socket of that kind.
function notifyReady() {
  if (!process.env.NOTIFY_SOCKET) return
  const {spawn} = require('child_process')
  const child = spawn(GM_PROGRAM, ['notify', 'READY=1'], {stdio: ['ignore', 'ignore', 'inherit']})
  child.on('error', err => say(`cannot tell that the app is ready: ${err.message}`))
  child.unref()
}

// takeSockets has listen() and bind() use what is inherited.
function takeSockets() {
  const fs = require('fs')
  if (!isOurs(Number(process.env.LISTEN_PID))) return
  const first = 3 // SD_LISTEN_FDS_START
  const sockets = GM_LISTEN.split(' ').slice(0, Number(process.env.LISTEN_FDS)).map((text, i) => {
    const [, kind, rest] = /^(udp:)?(.*)$/.exec(decodeURIComponent(text))
    const [, host, port] = /^(?:\[?([^/]*?)\]?:)?(\d+)$/.exec(rest) || []
    return {text: rest, fd: first + i, udp: !!kind, host, port: Number(port), path: port ? undefined : rest}
  }).filter(s => {
    try {
      return fs.fstatSync(s.fd).isSocket()
    } catch {
      return false
    }
  })

  // take finds the socket for an address; one of the same port that has another host is
  // the one that was meant.
  function take(udp, port, host, path) {
    const fits = sockets.filter(s => s.udp === udp && !s.taken && (path ? s.path === path : s.port === Number(port)))
    const same = fits.find(s => path || alike(s.host, host))
    const found = same || fits[0]
    if (!found) return
    if (!same) say(`the app asks for ${host || 'any address'}, port ${port}; it has the declared socket, ${found.text}`)
    found.taken = true
    return found.fd
  }

  const net = require('net')
  const {listen} = net.Server.prototype
  net.Server.prototype.listen = function (...args) {
    const {port, host, path, done, own} = meant(args)
    const fd = own ? undefined : take(false, port, host, path)
    if (fd === undefined) return listen.apply(this, args)
    return listen.call(this, {fd}, done)
  }

  const {Socket} = require('dgram')
  const {bind} = Socket.prototype
  Socket.prototype.bind = function (...args) {
    const {port, host, done, own} = meant(args)
    const fd = own ? undefined : take(true, port, host)
    if (fd === undefined) return bind.apply(this, args)
    return bind.call(this, {fd}, done)
  }
}

// isOurs reports whether descriptors are for this process: its own, or a shell's that
// started it.
function isOurs(pid) {
  const fs = require('fs')
  for (let at = process.pid; at > 1;) {
    if (at === pid) return true
    try {
      const stat = fs.readFileSync(`/proc/${at}/stat`, 'latin1')
      at = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    } catch {
      return false
    }
  }
  return false
}

// meant reads the arguments of listen() and bind(), which take them in the same forms.
function meant(args) {
  const last = args[args.length - 1]
  const done = typeof last === 'function' ? last : undefined
  const [first, second] = args
  if (first !== null && typeof first === 'object') {
    const {port, host, address, path, fd} = first
    return {port, path, done, host: host || address, own: fd >= 0 || first.handle || first._handle}
  }
  if (typeof first === 'string' && !/^\d+$/.test(first)) return {path: first, done}
  return {port: typeof first === 'function' ? 0 : first, host: typeof second === 'string' ? second : undefined, done}
}

// alike compares the hosts of two addresses; "" and undefined are any.
function alike(a, b) {
  const plain = host => (!host || host === '::' || host === '0.0.0.0' || host === '*' ? '' : host === 'localhost' ? '127.0.0.1' : host)
  return plain(a) === plain(b)
}

// shareTCPPorts sets reusePort wherever an app listens on a port.
function shareTCPPorts() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 22 || (major === 22 && minor < 12) || (major === 23 && minor < 1)) {
    say(`several instances cannot share a port: Node ${process.versions.node} has no reusePort, 22.12 does`)
    return
  }
  const net = require('net')
  const {listen} = net.Server.prototype
  net.Server.prototype.listen = function (...args) {
    const {port, host, path, done, own} = meant(args)
    if (own || path || !(Number(port) > 0)) return listen.apply(this, args)
    const options = typeof args[0] === 'object' ? args[0] : {port, host, backlog: args.slice(1).find(a => typeof a === 'number')}
    return listen.call(this, {...options, reusePort: true}, done)
  }
}
