package gemini

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// promptBlocked is our own word for a promptFeedback with a block reason.
const promptBlocked = "prompt_blocked"

// errorTable maps google.rpc.Status (ai.google.dev/gemini-api/docs/troubleshooting and
// cloud.google.com/apis/design/errors, read 2026-11-22). A bad key is 400 with the
// reason API_KEY_INVALID; RESOURCE_EXHAUSTED is a limit per minute or day, told
// apart from an empty prepaid balance only by its sentence.
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: promptBlocked, Fault: fault.ContentFiltered},
		{Code: "api_key_invalid", Fault: fault.ProviderKeyInvalid},
		{Code: "api_key_service_blocked", Fault: fault.ProviderKeyInvalid},
		{Status: http.StatusBadRequest, Contains: "api key", Fault: fault.ProviderKeyInvalid},
		{Contains: "credits are depleted", Fault: fault.ProviderQuotaExhausted},
		{Code: "failed_precondition", Contains: "billing", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusBadRequest, Contains: "exceeds the maximum number of tokens", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "payload size exceeds", Fault: fault.TooLarge},
		{Status: http.StatusBadRequest, Contains: "unsupported mime type", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "unable to process input image", Fault: fault.UnsupportedMedia},
		{Code: "unauthenticated", Fault: fault.ProviderKeyInvalid},
		{Code: "permission_denied", Fault: fault.ProviderKeyInvalid},
		{Code: "resource_exhausted", Fault: fault.ProviderRateLimited},
		{Code: "unavailable", Fault: fault.ProviderOverloaded},
		{Code: "deadline_exceeded", Fault: fault.ProviderTimeout},
		{Code: "cancelled", Fault: fault.ProviderError},
	}
}
