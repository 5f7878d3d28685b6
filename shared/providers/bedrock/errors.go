package bedrock

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/awssign"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// errorTable maps the exceptions of Converse and ConverseStream (service model, see
// the package comment) and, where one exception stands for several things, their
// sentences (Bedrock user guide, troubleshooting-api-error-codes; sentences that
// models add as reported in issues of aws-samples/bedrock-chat and
// aws-samples/bedrock-access-gateway; read 2026-11-22). A model that the account has
// not enabled is refused access, but the key is good.
func errorTable() wire.Errors {
	return append(wire.Errors{
		{Code: "accessdeniedexception", Contains: "access to the model", Fault: fault.InvalidRequest},
		{Code: "validationexception", Contains: "input is too long", Fault: fault.ContextLengthExceeded},
		{Code: "validationexception", Contains: "prompt is too long", Fault: fault.ContextLengthExceeded},
		{Code: "validationexception", Contains: "exceed context limit", Fault: fault.ContextLengthExceeded},
		{Code: "validationexception", Contains: "input tokens exceeded", Fault: fault.ContextLengthExceeded},
		{Code: "validationexception", Contains: "maximum context length", Fault: fault.ContextLengthExceeded},
		{Code: "validationexception", Contains: "could not process image", Fault: fault.UnsupportedMedia},
		{Code: "validationexception", Contains: "failed to sanitize image", Fault: fault.UnsupportedMedia},
		{Code: "validationexception", Fault: fault.InvalidRequest},
		{Code: "resourcenotfoundexception", Fault: fault.InvalidRequest},
		{Code: "modelnotreadyexception", Fault: fault.ProviderOverloaded},
		{Code: "modeltimeoutexception", Fault: fault.ProviderTimeout},
		{Code: "modelerrorexception", Fault: fault.ProviderError},
		{Code: "modelstreamerrorexception", Fault: fault.ProviderError},
		{Code: "internalserverexception", Fault: fault.ProviderError},
		{Code: "expiredtokenexception", Fault: fault.ProviderKeyInvalid},
		{Code: "missingauthenticationtokenexception", Fault: fault.ProviderKeyInvalid},
		{Code: "incompletesignatureexception", Fault: fault.ProviderKeyInvalid},
	}, awssign.Errors()...)
}

// exception turns an error that came inside a stream into a fault.
func (c *Chat) exception(name string, payload []byte) error {
	return c.v.Decide(op, http.StatusBadGateway, http.Header{"X-Amzn-Errortype": {name}}, payload)
}
