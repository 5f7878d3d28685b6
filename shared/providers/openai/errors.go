package openai

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps OpenAI's codes and types (developers.openai.com/docs/guides/
// error-codes, read 2026-11). Its 429 means either too many requests or no
// money; only the code tells them apart. A 403 is a country, an organisation or a
// project the key may not use.
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "insufficient_quota", Fault: fault.ProviderQuotaExhausted},
		{Code: "billing_hard_limit_reached", Fault: fault.ProviderQuotaExhausted},
		{Code: "billing_not_active", Fault: fault.ProviderQuotaExhausted},
		{Code: "context_length_exceeded", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Code: "content_filter", Fault: fault.ContentFiltered},
		{Code: "content_policy_violation", Fault: fault.ContentFiltered},
		{Code: "invalid_prompt", Fault: fault.ContentFiltered},
		{Code: "invalid_api_key", Fault: fault.ProviderKeyInvalid},
		{Code: "account_deactivated", Fault: fault.ProviderKeyInvalid},
		{Code: "invalid_image_format", Fault: fault.UnsupportedMedia},
		{Code: "invalid_image_url", Fault: fault.UnsupportedMedia},
		{Code: "image_parse_error", Fault: fault.UnsupportedMedia},
		{Code: "unsupported_file", Fault: fault.UnsupportedMedia},
		{Code: "unsupported_audio_format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "unsupported file format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "invalid file format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "unsupported image", Fault: fault.UnsupportedMedia},
		{Contains: "currently overloaded", Fault: fault.ProviderOverloaded},
		{Code: "rate_limit_exceeded", Fault: fault.ProviderRateLimited},
	}
}
