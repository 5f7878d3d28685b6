package kimi

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps Kimi's error types (platform.kimi.ai/docs/api/errors, read
// 2026-11). Three different things are a 429; a 403 may be an empty account
// (kimi.com/help, API troubleshooting, read 2026-11).
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "exceeded_current_quota_error", Fault: fault.ProviderQuotaExhausted},
		{Code: "engine_overloaded_error", Fault: fault.ProviderOverloaded},
		{Code: "rate_limit_reached_error", Fault: fault.ProviderRateLimited},
		{Code: "content_filter", Fault: fault.ContentFiltered},
		{Status: http.StatusBadRequest, Contains: "token length too long", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "exceeded model token limit", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusForbidden, Contains: "balance", Fault: fault.ProviderQuotaExhausted},
		{Status: http.StatusBadRequest, Contains: "unsupported image", Fault: fault.UnsupportedMedia},
	}
}
