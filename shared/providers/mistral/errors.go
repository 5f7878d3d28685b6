package mistral

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps Mistral's errors: {"object":"error","message","type","param",
// "code"} with numbers as codes, and FastAPI's detail for a 422 (shapes as in
// zed-industries/zed issue 53034 and mistralai/client-js issue 69, read 2026-11).
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "service_tier_capacity_exceeded", Fault: fault.ProviderOverloaded},
		{Status: http.StatusTooManyRequests, Contains: "capacity exceeded", Fault: fault.ProviderOverloaded},
		{Status: http.StatusBadRequest, Contains: "too large for model", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Code: "context_length_exceeded", Fault: fault.ContextLengthExceeded},
		{Code: "guardrail_violation", Fault: fault.ContentFiltered},
		{Status: http.StatusForbidden, Contains: "moderation", Fault: fault.ContentFiltered},
		{Status: http.StatusBadRequest, Contains: "image", Fault: fault.UnsupportedMedia},
		{Status: http.StatusUnauthorized, Contains: "inactive subscription", Fault: fault.ProviderQuotaExhausted},
	}
}
