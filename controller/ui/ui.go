// Package ui serves the status as JSON and as a page that reads it. It can only
// be looked at: no request changes anything, and nothing is loaded from
// elsewhere.
package ui

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"

	"github.com/detnet/detnet/controller/status"
)

//go:embed static
var static embed.FS

// Leader reads a part of the status of the replica that leads.
type Leader func(context.Context, status.Query) (*status.Status, error)

// Handler serves the page at / and the status at /status, or the part of it that the
// parameters of status.ParseQuery ask for. A standby shows the
// leader's, unless it is asked for /status?local or can't reach it; leader may
// be nil.
func Handler(current func() *status.Status, leader Leader) http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		query, err := status.ParseQuery(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		shown := current().Select(query)
		if _, local := r.URL.Query()["local"]; !shown.Leader && !local && leader != nil {
			if theirs, err := leader(r.Context(), query); err == nil {
				shown = theirs
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// An error here is the reader's disappearance: nobody to tell.
		_ = json.NewEncoder(w).Encode(shown)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}
