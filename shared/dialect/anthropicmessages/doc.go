// Package anthropicmessages is the Anthropic Messages dialect as clients speak
// it to us, versions 2023-06-01 and 2026-10-21: [ParseRequest] turns a body into
// a [model.Request], [EncodeResponse] and [StreamEncoder] turn what came back
// into what their SDKs read, [EncodeError] is the envelope of every failure.
//
// Parsing is as strict as in package openaichat. Tool results become a message
// of their own before the rest of the user's turn, which is the order the
// dialect demands. What has no counterpart with other vendors (server tools,
// citations, containers) is refused with the field's name, not dropped; unknown
// top-level fields are kept for vendors of the same dialect.
//
// Thinking survives a conversation that changes vendors: a signature of another
// vendor travels as an opaque value of ours in the signature of its block, a
// signature on a tool call as a redacted_thinking block beside it, and both are
// taken apart again when the client sends its history back.
//
// Usage is exclusive in this dialect: input_tokens counts neither cache reads
// nor writes. Other vendors report input only at the end, so message_start shows
// what is known by then and message_delta repeats the final numbers.
//
// The package does no I/O, keeps no clock and makes no IDs: [Shape] brings them.
package anthropicmessages
