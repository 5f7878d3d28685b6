package admin

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPIDocument []byte

func openAPI() (Response, error) {
	return Response{Status: http.StatusOK, Header: jsonHeader(), Body: openAPIDocument}, nil
}

type healthBody struct {
	Status string `json:"status"`
}

// health says that the function runs. It reads nothing: it needs no key, so it
// must cost nothing.
func health() (Response, error) { return success(http.StatusOK, healthBody{Status: "ok"}) }
