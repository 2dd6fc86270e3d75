package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// sink answers as an APM server does, and looks at nothing, so that it costs next to nothing. It
// prints its address, and ends when it is killed.
func sink() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", l.Addr())
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			io.WriteString(w, `{"version": "8.19.0"}`)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
}
