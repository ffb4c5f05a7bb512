// Has two children, one of them in a session of its own, and notes all pids in
// the file that it is given.
const { spawn } = require('child_process');

const children = [spawn('sleep', ['1000']), spawn('sleep', ['1000'], { detached: true })];
require('fs').writeFileSync(process.argv[2], [process.pid, ...children.map((c) => c.pid)].join('\n') + '\n');
