package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/detnet/detnet/agent/kube"
)

// Limits may only be lifted on proof that no agent follows.
func TestRetired(t *testing.T) {
	tests := map[string]struct {
		code int
		body string
		want bool
	}{
		"running":        {http.StatusOK, `{"metadata":{"name":"detnet-agent-node"}}`, false},
		"being deleted":  {http.StatusOK, `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}`, true},
		"gone":           {http.StatusNotFound, `{}`, true},
		"rights gone":    {http.StatusForbidden, `{}`, true},
		"account gone":   {http.StatusUnauthorized, `{}`, true},
		"server trouble": {http.StatusInternalServerError, `{}`, false},
		"nonsense":       {http.StatusOK, `<html>`, false},
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := "/apis/apps/v1/namespaces/detnet/daemonsets/detnet-agent-node"; r.URL.Path != want {
					t.Errorf("asked for %s, want %s", r.URL.Path, want)
				}
				w.WriteHeader(tt.code)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			client := kube.New(server.URL, server.Client().Transport, "")
			if got := retired(client, "detnet/detnet-agent-node", log); got != tt.want {
				t.Errorf("retired = %v, want %v", got, tt.want)
			}
			server.Close()
			if retired(client, "detnet/detnet-agent-node", log) {
				t.Error("retired without an answer")
			}
			if retired(client, "", log) {
				t.Error("retired without a DaemonSet")
			}
		})
	}
}
