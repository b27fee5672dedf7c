// The shop's search, for Node. search.py is the same service for machines without node.
// Version v1 minds upper and lower case, which is the bug that branch `search-fix` mends.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const version = process.env.VERSION ?? "v1";
const hop = { service: "search", version, runtime: "node" };
const catalog = JSON.parse(readFileSync(new URL("./catalog.json", import.meta.url), "utf8"));

function find(query) {
  if (version === "v1") return catalog.filter((item) => item.name.includes(query));
  const wanted = query.toLowerCase();
  return catalog.filter((item) => item.name.toLowerCase().includes(wanted));
}

function answer(response, status, value) {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": body.length,
  });
  response.end(body);
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://search");
  if (request.method === "GET" && url.pathname === "/search") {
    answer(response, 200, { hop, items: find(url.searchParams.get("q") ?? "") });
  } else if (request.method === "GET" && url.pathname === "/healthz") {
    answer(response, 200, { ok: true });
  } else {
    answer(response, 404, { error: "no such page" });
  }
});

for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));

server.listen(Number(process.env.PORT ?? 8090), process.env.POD_IP ?? "0.0.0.0");
