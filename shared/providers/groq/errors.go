package groq

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps Groq's errors (console.groq.com/docs/errors, read 2026-11).
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "context_length_exceeded", Fault: fault.ContextLengthExceeded},
		{Code: "invalid_api_key", Fault: fault.ProviderKeyInvalid},
		{Code: "blocked_api_access", Fault: fault.ProviderQuotaExhausted},
		{Code: "organization_restricted", Fault: fault.ProviderKeyInvalid},
		// Another key, model or vendor may take the request.
		{Status: http.StatusRequestEntityTooLarge, Code: "rate_limit_exceeded", Fault: fault.ProviderRateLimited},
		{Code: "over_capacity", Fault: fault.ProviderOverloaded},
		{Status: 498, Fault: fault.ProviderOverloaded},
		{Status: 499, Fault: fault.ProviderError},
		{Status: http.StatusFailedDependency, Fault: fault.ProviderError},
		// The model wrote what Groq could not parse.
		{Code: "tool_use_failed", Fault: fault.ProviderError},
		{Code: "json_validate_failed", Fault: fault.ProviderError},
		{Status: http.StatusBadRequest, Contains: "could not process file", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "invalid image", Fault: fault.UnsupportedMedia},
	}
}
