// A client of go-chassis: it finds the provider by its name, and calls it.
package main

import (
	"context"
	"fmt"

	"github.com/go-chassis/go-chassis/v2"
	"github.com/go-chassis/go-chassis/v2/client/rest"
	"github.com/go-chassis/go-chassis/v2/core"
	"github.com/go-chassis/go-chassis/v2/pkg/util/httputil"
)

func main() {
	if err := chassis.Init(); err != nil {
		panic(err)
	}
	request, err := rest.NewRequest("GET", "http://go-provider/hello", nil)
	if err != nil {
		panic(err)
	}
	response, err := core.NewRestInvoker().ContextDo(context.Background(), request)
	if err != nil {
		panic(err)
	}
	fmt.Println("answer:", string(httputil.ReadBody(response)))
}
