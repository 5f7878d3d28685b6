package deepseek

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps what the status does not say (api-docs.deepseek.com, error
// codes, read 2026-11): 402 is no balance, 422 invalid parameters, 503 overload.
func errorTable() wire.Errors {
	return wire.Errors{
		{Contains: "insufficient balance", Fault: fault.ProviderQuotaExhausted},
		{Contains: "server is overloaded", Fault: fault.ProviderOverloaded},
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "content exists risk", Fault: fault.ContentFiltered},
	}
}
