package front

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

const (
	maxAsyncBytes   = 1024 * 1024 // of an Event invocation (Lambda quotas, 1 MB since 2025)
	maxAsyncPending = 1000
)

// functionRef is a name, a partial ARN (account:function:name) or an ARN, each
// with an optional qualifier.
var functionRef = regexp.MustCompile(`^(?:(?:arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:)?[0-9]{12}:function:)?([A-Za-z0-9_-]{1,64})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?$`)

var qualifierPattern = regexp.MustCompile(`^(?:\$LATEST|[A-Za-z0-9_-]{1,128})$`)

// InvokeAPI is Lambda's Invoke operation,
// POST /2015-03-31/functions/{name or ARN}/invocations, for the types
// RequestResponse (default), Event and DryRun. Signatures are not checked and
// qualifiers are ignored. Up to 1,000 Event invocations may be pending (429
// beyond); their errors end in the function's log only.
//
// allow names the functions as resources and "InvokeFunction" as the operation;
// what it does not list is refused. nil refuses nobody.
func InvokeAPI(host Invoker, allow awswire.Allow) http.Handler {
	api := &invokeAPI{host: host, allow: allow, pending: make(chan struct{}, maxAsyncPending)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", api.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiError(w, http.StatusNotFound, "UnknownOperationException", "the local stack has only the Invoke operation")
	})
	return localOnly(mux)
}

type invokeAPI struct {
	host    Invoker
	allow   awswire.Allow
	pending chan struct{}
}

func apiError(w http.ResponseWriter, status int, kind, text string) {
	w.Header().Set("X-Amzn-Errortype", kind)
	w.Header().Set("X-Amzn-Requestid", lambdahost.NewRequestID())
	writeJSON(w, status, map[string]string{"Type": "User", "Message": text})
}

func (a *invokeAPI) serve(w http.ResponseWriter, r *http.Request) {
	ref := functionRef.FindStringSubmatch(r.PathValue("name"))
	qualifier := r.URL.Query().Get("Qualifier")
	if ref == nil || qualifier != "" && !qualifierPattern.MatchString(qualifier) || qualifier != "" && ref[2] != "" && qualifier != ref[2] {
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "the function name or qualifier is malformed")
		return
	}
	name := ref[1]
	if !a.allow.Permits(awswire.Principal(r), name, "InvokeFunction") {
		apiError(w, http.StatusForbidden, "AccessDeniedException", "no policy of the caller allows lambda:InvokeFunction on "+name)
		return
	}
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEventBytes))
	if err != nil {
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request must be smaller than 6291456 bytes for the InvokeFunction operation")
		return
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if !json.Valid(payload) {
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
		return
	}
	switch r.Header.Get("X-Amz-Invocation-Type") {
	case "", "RequestResponse":
		a.wait(w, r, name, payload)
	case "Event":
		a.start(w, name, payload)
	case "DryRun":
		if a.known(w, name) {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "X-Amz-Invocation-Type is not RequestResponse, Event or DryRun")
	}
}

func (a *invokeAPI) known(w http.ResponseWriter, name string) bool {
	for _, f := range a.host.Functions() {
		if f.Name == name {
			return true
		}
	}
	apiError(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+name)
	return false
}

func (a *invokeAPI) wait(w http.ResponseWriter, r *http.Request, name string, payload []byte) {
	result, err := a.host.Invoke(r.Context(), name, payload)
	var failure *lambdahost.Error
	switch {
	case err == nil:
	case !errors.As(err, &failure): // the client has left
		panic(http.ErrAbortHandler)
	case failure.Reason == lambdahost.ErrUnknownFunction:
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", failure.Message)
		return
	case failure.Reason == lambdahost.ErrThrottled:
		apiError(w, http.StatusTooManyRequests, "TooManyRequestsException", failure.Message)
		return
	case failure.Reason == lambdahost.ErrClosed:
		apiError(w, http.StatusServiceUnavailable, "ServiceException", failure.Message)
		return
	default:
		// A function that crashed, timed out or failed to start is, to the API, a
		// call that succeeded with a function error.
		result = lambdahost.Result{RequestID: failure.RequestID, Payload: failure.Payload(), FunctionError: "Unhandled"}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Requestid", result.RequestID)
	h.Set("X-Amz-Executed-Version", "$LATEST")
	if result.FunctionError != "" {
		h.Set("X-Amz-Function-Error", result.FunctionError)
	}
	_, _ = w.Write(result.Payload)
}

func (a *invokeAPI) start(w http.ResponseWriter, name string, payload []byte) {
	if !a.known(w, name) {
		return
	}
	if len(payload) > maxAsyncBytes {
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "an Event invocation carries at most 1 MB")
		return
	}
	select {
	case a.pending <- struct{}{}:
	default:
		apiError(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		return
	}
	go func() {
		defer func() { <-a.pending }()
		// Bounded by the queue wait and the function's timeout; ends with the host.
		_, _ = a.host.Invoke(context.Background(), name, payload)
	}()
	w.Header().Set("X-Amzn-Requestid", lambdahost.NewRequestID())
	w.WriteHeader(http.StatusAccepted)
}
