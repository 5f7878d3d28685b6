package openaicompatible

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps OpenAI's error codes (platform.openai.com/docs, error codes,
// read 2026-11) and what compatible servers say instead of them. Their texts
// are matched here and dropped.
func errorTable() wire.Errors {
	return wire.Errors{
		{Code: "context_length_exceeded", Fault: fault.ContextLengthExceeded},
		{Code: "exceed_context_size_error", Fault: fault.ContextLengthExceeded}, // llama.cpp server
		{Status: http.StatusBadRequest, Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Status: http.StatusBadRequest, Contains: "context size", Fault: fault.ContextLengthExceeded},
		{Code: "content_filter", Fault: fault.ContentFiltered},
		{Code: "content_policy_violation", Fault: fault.ContentFiltered},
		{Code: "insufficient_quota", Fault: fault.ProviderQuotaExhausted},
		{Code: "billing_hard_limit_reached", Fault: fault.ProviderQuotaExhausted},
		{Code: "invalid_api_key", Fault: fault.ProviderKeyInvalid},
		{Code: "unsupported_audio_format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "unsupported file format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusBadRequest, Contains: "invalid file format", Fault: fault.UnsupportedMedia},
		{Status: http.StatusInternalServerError, Contains: "overloaded", Fault: fault.ProviderOverloaded},
	}
}
