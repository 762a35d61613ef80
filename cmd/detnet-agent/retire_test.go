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
	const (
		running  = `{"metadata":{"name":"x"}}`
		deleting = `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}`
	)
	type answer struct {
		code int
		body string
	}
	ok := answer{http.StatusOK, running}
	tests := map[string]struct {
		daemonSet, namespace answer
		want                 bool
	}{
		"running":                              {ok, ok, false},
		"being deleted":                        {answer{http.StatusOK, deleting}, ok, true},
		"gone":                                 {answer{http.StatusNotFound, `{}`}, ok, true},
		"rights gone":                          {answer{http.StatusForbidden, `{}`}, ok, true},
		"account gone":                         {answer{http.StatusUnauthorized, `{}`}, ok, true},
		"server trouble":                       {answer{http.StatusInternalServerError, `{}`}, ok, false},
		"nonsense":                             {answer{http.StatusOK, `<html>`}, ok, false},
		"namespace being deleted":              {ok, answer{http.StatusOK, deleting}, true},
		"namespace gone between two questions": {ok, answer{http.StatusNotFound, `{}`}, true},
		"account gone between two questions":   {ok, answer{http.StatusUnauthorized, `{}`}, true},
		"no right to read the namespace":       {ok, answer{http.StatusForbidden, `{}`}, false},
		"trouble with the namespace":           {ok, answer{http.StatusInternalServerError, `{}`}, false},
	}
	log := slog.New(slog.DiscardHandler)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := tt.namespace
				switch r.URL.Path {
				case "/apis/apps/v1/namespaces/detnet/daemonsets/detnet-agent-node":
					answer = tt.daemonSet
				case "/api/v1/namespaces/detnet":
				default:
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(answer.code)
				_, _ = io.WriteString(w, answer.body)
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
