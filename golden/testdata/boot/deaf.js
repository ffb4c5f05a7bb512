// Does not hear SIGINT.
process.on('SIGINT', () => {});
setInterval(() => {}, 1000);
require('fs').writeFileSync('deaf.pid', String(process.pid));
