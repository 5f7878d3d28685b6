// Package openairesponses is the OpenAI Responses dialect, stateless:
// [ParseRequest] turns a body into a [model.Request], [EncodeResponse] and
// [StreamEncoder] turn what came back into what their SDKs read. Errors have the
// envelope of package openaichat.
//
// Nothing is stored: store true, previous_response_id, conversation, item
// references and background are refused, and so are tools that run on the
// vendor's side. A client that wants thinking back sends the reasoning items of
// the output again as they are; their encrypted_content carries the opaque
// values of any vendor, signatures of tool calls included (in a reasoning item
// of their own before the call).
//
// A stream ends with the whole response, as the dialect demands, so an encoder
// keeps the encoded output items until then. The adapters bound an answer's
// size.
//
// The package does no I/O, keeps no clock and makes no IDs: [Shape] brings them.
package openairesponses
