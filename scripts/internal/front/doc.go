// Package front is the HTTP side of the local stack: what API Gateway's HTTP API,
// Lambda function URLs and Lambda's Invoke API are on AWS. It runs on the
// developer's machine only.
//
// # Flow
//
// A request is matched to a [Route] (most specific first), its body is read whole
// and bounded before anything is forwarded, it becomes an event of payload
// format 2.0, and the answer goes back: buffered for kind httpapi, streamed with
// a flush per chunk for kind url. Bodies are read first because net/http closes
// an inbound body once response headers are out, which would cut streams under
// load.
//
// # Which bodies are base64
//
// As measured on AWS (ministackorg/ministack pull request 766, 2026-06-01, for HTTP
// API; LeanerCloud/CUDly pull request 1483, 2026-07-21, for function URLs): text
// is text/*, application/json, application/javascript and application/xml, with or
// without parameters. Everything else is base64: forms
// (application/x-www-form-urlencoded), +json and +xml types, no content type at
// all. So is any body with a content encoding or that is not UTF-8, since JSON
// could not carry it.
//
// # Paths
//
// A function URL passes rawPath as it was sent; HTTP API decodes it
// (middleapi/standard-server pull request 93, 2026-09-15). Path parameters are
// decoded. The query string is never touched.
//
// # Limits
//
// HTTP API: 10,240 bytes of request line and headers (431), 10 MB of body and
// 6 MB of event (413), 30 s (503; the function runs on). Function URL: 6 MB of
// event (413). The event is what counts, base64 and JSON escapes included.
// Failures: httpapi 500, url 502, both {"message":"Internal Server Error"};
// no free environment 429. A stream that fails after its status was sent ends as
// an aborted chunked body, never as a clean one.
//
// # Guarantees
//
// Listeners are loopback only ([Listen]). The /_local/ endpoints and the Invoke
// API, which can do anything to the stack, answer only requests addressed to a
// loopback name, without a foreign Origin and without a proxy's headers, so that
// neither a web page nor a tunnel to the webhooks reaches them. Everything is
// safe for concurrent use.
//
// # What it does not imitate
//
// Authorizers, IAM signatures, CORS configuration, throttling, access logs, stages
// other than $default, mutual TLS, WAF, custom domains, VPC links, WebSocket
// APIs, response header limits; HTTP API's truncation of a path at a decoded
// question mark; retries, destinations and age limits of Event invocations
// (they run once); log tails and client contexts of the Invoke API.
package front
