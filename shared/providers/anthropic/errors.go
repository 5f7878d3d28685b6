package anthropic

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps the API's errors (platform.claude.com/docs/en/api/errors and the
// error types of @anthropic-ai/sdk 1.12.0, read 2026-11-22). The type stands in
// streams too, where there is no status. Spend limits come as 400 or 429 with an
// error_code or only a sentence; an empty prepaid balance as 400 with a sentence.
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "enforced_spend_limit_reached", Fault: fault.ProviderQuotaExhausted},
		{Code: "contract_spend_limit_reached", Fault: fault.ProviderQuotaExhausted},
		{Code: "linked_organization_spend_limit_reached", Fault: fault.ProviderQuotaExhausted},
		{Code: "linked_organization_billing_unavailable", Fault: fault.ProviderQuotaExhausted},
		{Code: "billing_error", Fault: fault.ProviderQuotaExhausted},
		{Code: "invalid_request_error", Contains: "credit balance", Fault: fault.ProviderQuotaExhausted},
		{Code: "invalid_request_error", Contains: "usage limits", Fault: fault.ProviderQuotaExhausted},
		{Code: "image_dimensions_too_large", Fault: fault.UnsupportedMedia},
		{Code: "organization_on_hold", Fault: fault.ProviderKeyInvalid},
		{Code: "authentication_error", Fault: fault.ProviderKeyInvalid},
		// Whatever type stands beside it.
		{Status: http.StatusUnauthorized, Fault: fault.ProviderKeyInvalid},
		{Code: "permission_error", Fault: fault.ProviderKeyInvalid},
		{Code: "rate_limit_error", Fault: fault.ProviderRateLimited},
		{Code: "overloaded_error", Fault: fault.ProviderOverloaded},
		{Code: "timeout_error", Fault: fault.ProviderTimeout},
		{Code: "request_too_large", Fault: fault.TooLarge},
		{Status: http.StatusBadRequest, Contains: "prompt is too long", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "exceed context limit", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "content filtering policy", Fault: fault.ContentFiltered},
		{Status: http.StatusBadRequest, Contains: "could not process image", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "unable to download", Fault: fault.UnsupportedMedia},
		{Code: "invalid_request_error", Fault: fault.InvalidRequest},
		{Code: "not_found_error", Fault: fault.InvalidRequest},
	}
}
