// Prints the answers of as many connections to a port: fetch.js PORT COUNT.
const http = require('http');

const [port, count] = process.argv.slice(2).map(Number);
const once = () =>
  new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('end', () => resolve(text));
      })
      .on('error', reject);
  });

(async () => {
  for (let i = 0; i < count; i++) process.stdout.write(await once());
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
