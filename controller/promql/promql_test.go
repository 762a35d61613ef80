package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/workload"
)

// age is what is asked about the series x first.
const age = "time() - max(timestamp(x))"

func vector(values ...string) string {
	out := ""
	for i, v := range values {
		if i > 0 {
			out += ","
		}
		out += `{"metric":{},"value":[1700000000,"` + v + `"]}`
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + out + `]}}`
}

func TestDelay(t *testing.T) {
	fresh := vector("3.5")
	for name, tt := range map[string]struct {
		answer, age string
		unit        string
		want        time.Duration
		err         error  // or
		says        string // part of it
	}{
		"seconds":          {answer: vector("0.0015"), age: fresh, want: 1500 * time.Microsecond},
		"milliseconds":     {answer: vector("1.5"), age: fresh, unit: "milliseconds", want: 1500 * time.Microsecond},
		"the worst series": {answer: vector("0.001", "NaN", "0.003", "0.002"), age: fresh, want: 3 * time.Millisecond},
		"scalar":           {answer: `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.002"]}}`, age: fresh, want: 2 * time.Millisecond},
		"stale":            {answer: vector("0.001"), age: vector("61"), err: errStale, says: "x: the data is too old: 61 s"},
		"series is gone":   {answer: vector("0.001"), age: vector(), err: errNoData, says: "no present value of x"},
		"no series":        {answer: vector(), age: fresh, err: errNoData},
		"NaN":              {answer: vector("NaN"), age: fresh, err: errNoData},
		"infinite":         {answer: vector("+Inf"), age: fresh, err: errNoData},
		"negative":         {answer: vector("-1"), age: fresh, says: "is no delay"},
		"wrong unit":       {answer: vector("86400"), age: fresh, says: "is the unit right"},
		"matrix":           {answer: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, age: fresh, says: "yields a matrix"},
		"refused":          {answer: `{"status":"error","error":"1:1: parse error` + strings.Repeat("x", 1000) + `"}`, age: fresh, says: "refused: 1:1: parse error"},
		"not Prometheus":   {answer: `<html>`, age: fresh, says: "not an answer of Prometheus"},
		"number as such":   {answer: `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}`, age: fresh, says: "not a string"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/prefix/api/v1/query" || r.FormValue("timeout") != "2s" {
					t.Errorf("asked for %v", r.URL)
				}
				fmt.Fprint(w, map[string]string{"x": tt.answer, age: tt.age}[r.FormValue("query")])
			}))
			defer server.Close()
			c := DefaultConfig()
			c.URL = server.URL + "/prefix/"
			if tt.unit != "" {
				c.Unit = tt.unit
			}
			got, err := source{c, server.Client()}.delay(t.Context(), parsed(t, "x"))
			fails := tt.err != nil || tt.says != ""
			if got != tt.want || (err != nil) != fails || tt.err != nil && !errors.Is(err, tt.err) {
				t.Fatalf("delay = %v, %v; want %v, %v %s", got, err, tt.want, tt.err, tt.says)
			}
			if fails && (!strings.Contains(err.Error(), tt.says) || len(err.Error()) > 500) {
				t.Errorf("error %q, want %q in it", err, tt.says)
			}
		})
	}
}

// What the server does wrong is an error, in bounded time and memory.
func TestBadServers(t *testing.T) {
	for name, tt := range map[string]struct {
		serve func(http.ResponseWriter, *http.Request)
		says  string
	}{
		"silent":    {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "403 Forbidden"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "302 Found"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range 3 * maxResponse / 1024 {
				_, _ = w.Write(make([]byte, 1024))
			}
		}, "not an answer of Prometheus"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(tt.serve))
			defer server.Close()
			c := DefaultConfig()
			c.URL, c.Timeout = server.URL, time.Minute
			if name == "silent" {
				c.Timeout = 200 * time.Millisecond
			}
			client := New(c, discard, newRegistry()).client
			defer client.CloseIdleConnections()
			_, err := source{c, client}.delay(context.WithoutCancel(t.Context()), parsed(t, "x"))
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "age of x") {
				t.Errorf("error %v, want %q in it", err, tt.says)
			}
		})
	}
}

func parsed(t *testing.T, text string) workload.Query {
	t.Helper()
	q, err := workload.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func FuzzWorst(f *testing.F) {
	f.Add([]byte(vector("1", "NaN")))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = worst(b) })
}
