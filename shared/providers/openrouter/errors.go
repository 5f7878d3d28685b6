package openrouter

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps OpenRouter's errors (openrouter.ai/docs, errors and debugging,
// read 2026-11). Codes are HTTP statuses, in the body too; metadata.error_type
// and the message tell more. 403 means a moderation or guardrail block, not a bad
// key; 503 means no provider of the model meets the routing requirements.
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "context_length_exceeded", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Code: "content_policy_violation", Fault: fault.ContentFiltered},
		{Code: "moderation", Fault: fault.ContentFiltered},
		{Status: http.StatusForbidden, Contains: "key limit exceeded", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusForbidden, Contains: "api key", Fault: fault.ProviderKeyInvalid},
		{Status: http.StatusForbidden, Fault: fault.ContentFiltered},
		{Code: "invalid_image", Fault: fault.UnsupportedMedia},
		{Code: "image_too_large", Fault: fault.UnsupportedMedia},
		{Code: "provider_overloaded", Fault: fault.ProviderOverloaded},
		{Status: http.StatusBadGateway, Contains: "overloaded", Fault: fault.ProviderOverloaded},
		{Status: http.StatusNotFound, Fault: fault.InvalidRequest},
	}
}
