// Says its interval, then works at it.
const interval = Number(process.env.INTERVAL);

console.log(`INTERVAL=${interval}`);
setInterval(() => console.log('tick'), interval);
