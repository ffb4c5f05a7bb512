// Ends as a shell would report it: with the status of a process ended by SIGINT.
process.on('SIGINT', () => process.exit(130));
setInterval(() => {}, 1000);
require('fs').writeFileSync('polite.pid', String(process.pid));
