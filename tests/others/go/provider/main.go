// A service of go-chassis: it registers, beats, and answers "hello".
package main

import (
	"net/http"

	"github.com/go-chassis/go-chassis/v2"
	"github.com/go-chassis/go-chassis/v2/server/restful"
)

type hello struct{}

func (*hello) Say(c *restful.Context) { c.Write([]byte("hello")) }

func (h *hello) URLPatterns() []restful.Route {
	return []restful.Route{{Method: http.MethodGet, Path: "/hello", ResourceFunc: h.Say}}
}

func main() {
	chassis.RegisterSchema("rest", &hello{})
	if err := chassis.Init(); err != nil {
		panic(err)
	}
	if err := chassis.Run(); err != nil {
		panic(err)
	}
}
