// One of the instances that cluster mode starts: it says which it is and stays.
const http = require('http');

const instance = process.env.NODE_APP_INSTANCE;
http
  .createServer((request, response) => response.end(`instance ${instance}, pid ${process.pid}\n`))
  .listen(3000, () => console.log(`instance ${instance} listens on port 3000`));
