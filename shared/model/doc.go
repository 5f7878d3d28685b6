// Package model is the contract of a model call: the normalised request, the
// response, the stream of events, the usage, and the two-method interface that
// each vendor adapter implements.
//
// A dialect package parses what a client sent into a [Request]; the gateway
// chooses where it goes and fills a [Call]; an adapter ([Chat]) speaks the
// vendor's wire format and answers with a [Response] or a [Stream] of [Event]
// values; the dialect package encodes those for the client.
//
// Guarantees that every adapter keeps, proved by modeltest:
//   - One Call is at most one HTTP request. Adapters never retry, never
//     redirect, never choose another model.
//   - [Chat.Stream] returns only once the vendor has sent something worth
//     showing, or failed; after that the caller cannot switch vendors.
//   - A stream that stops without the vendor's terminal event is an error, never
//     a finish reason made up by us.
//   - Every error is a *fault.Error with a fixed message: no vendor text, no
//     URL, no key.
//   - [Usage] buckets are disjoint, so that pricing is a plain sum.
//
// Requests, responses and events are plain data and may be shared between
// goroutines that only read them. The package does no I/O and keeps no state.
package model
