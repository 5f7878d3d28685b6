// Package geminigenerate is the Gemini dialect: generateContent and
// streamGenerateContent on v1beta. [ParseRequest] turns a body into a
// [model.Request], [EncodeResponse] and [StreamEncoder] turn what came back into
// what their SDKs read, [EncodeError] is the envelope of every failure.
//
// In this dialect a function call may have no id: calls and responses are then
// matched by name and order, and ids of ours are made for vendors that need one.
// A signature of a thought or a call belongs to the part it came with; values of
// other vendors travel packed and are unpacked when the client sends its history
// back.
//
// Tools that run on the vendor's side, cached contents and several candidates
// are refused with the field's name. Unknown top-level and generation fields are
// kept for vendors of the same dialect.
//
// The package does no I/O, keeps no clock and makes no IDs: [Shape] brings them.
package geminigenerate
