package grok

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps xAI's errors (docs.x.ai/developers/debugging, read 2026-11).
// Their codes are sentences. A team without credits or over its spending limit
// gets a 403 or 429 that says so; any other 403 is a blocked key or a missing
// permission.
func errorTable() wire.Errors {
	return wire.Errors{
		{Contains: "incorrect api key", Fault: fault.ProviderKeyInvalid},
		{Status: http.StatusForbidden, Contains: "credit", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusForbidden, Contains: "spending limit", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusTooManyRequests, Contains: "credit", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusTooManyRequests, Contains: "spending limit", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusForbidden, Contains: "usage guidelines", Fault: fault.ContentFiltered},
		{Code: "the service is currently unavailable", Fault: fault.ProviderOverloaded},
		{Contains: "maximum prompt length", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "image", Fault: fault.UnsupportedMedia},
	}
}
