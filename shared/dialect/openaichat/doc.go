// Package openaichat is the OpenAI chat completions dialect as clients speak it
// to us: [ParseRequest] turns a body into a [model.Request], [EncodeResponse]
// and [StreamEncoder] turn what came back into what their SDKs read, and
// [EncodeError] is the envelope of every failure.
//
// Parsing is strict where a mistake costs money or hides an attack: one JSON
// value, no equal keys, at most 64 levels, known roles and part types, whole
// numbers for counts. Every refusal is fault.InvalidRequest or
// fault.UnsupportedMedia and names the field in Param. Top-level fields that are
// not known are kept in [model.Request.Extra] for vendors of the same dialect.
// A body that asks for something nobody could honour (n above 1, streamed audio,
// the old functions) is refused rather than half answered.
//
// Encoding follows what the SDKs were seen to read: usage in the last chunk with
// empty choices when the client asked for it, cached and reasoning tokens in the
// details, thinking as reasoning and reasoning_details (and reasoning_content if
// wanted), an error frame without [DONE] when a stream breaks.
//
// The package does no I/O, keeps no clock and makes no IDs: [Shape] brings them.
package openaichat
