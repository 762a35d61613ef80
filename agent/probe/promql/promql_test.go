package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// serve answers each query with what answers holds for it.
func serve(t *testing.T, answers map[string]string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query" || r.FormValue("time") == "" {
			t.Errorf("asked for %v", r.URL)
		}
		fmt.Fprint(w, answers[r.FormValue("query")])
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

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
	now := time.Unix(1700000000, 0)
	for name, tt := range map[string]struct {
		answer, newest string
		unit           time.Duration
		want           time.Duration
		err            error // any error if errAny
		fails          bool
	}{
		"seconds":          {answer: vector("0.0015"), unit: time.Second, want: 1500 * time.Microsecond},
		"milliseconds":     {answer: vector("1.5"), unit: time.Millisecond, want: 1500 * time.Microsecond},
		"the worst series": {answer: vector("0.001", "NaN", "0.003", "0.002"), unit: time.Second, want: 3 * time.Millisecond},
		"scalar":           {answer: `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.002"]}}`, unit: time.Second, want: 2 * time.Millisecond},
		"fresh":            {answer: vector("0.001"), newest: vector("1699999990"), unit: time.Second, want: time.Millisecond},
		"stale":            {answer: vector("0.001"), newest: vector("1699999900"), unit: time.Second, err: ErrStale, fails: true},
		"nothing fresh":    {answer: vector("0.001"), newest: vector(), unit: time.Second, err: ErrNoData, fails: true},
		"no series":        {answer: vector(), unit: time.Second, err: ErrNoData, fails: true},
		"NaN":              {answer: vector("NaN"), unit: time.Second, err: ErrNoData, fails: true},
		"infinite":         {answer: vector("+Inf"), unit: time.Second, err: ErrNoData, fails: true},
		"negative":         {answer: vector("-1"), unit: time.Second, fails: true},
		"wrong unit":       {answer: vector("86400"), unit: time.Second, fails: true},
		"no unit":          {answer: vector("1"), fails: true},
		"matrix":           {answer: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, unit: time.Second, fails: true},
		"refused":          {answer: `{"status":"error","error":"parse error"}`, unit: time.Second, fails: true},
		"not Prometheus":   {answer: `<html>`, unit: time.Second, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := Source{URL: serve(t, map[string]string{"q": tt.answer, "f": tt.newest}), Query: "q", Unit: tt.unit}
			if tt.newest != "" {
				s.Freshness = "f"
			}
			got, err := s.Delay(context.Background(), now)
			if got != tt.want || (err != nil) != tt.fails || !errors.Is(err, tt.err) && tt.err != nil {
				t.Errorf("Delay = %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzWorst(f *testing.F) {
	f.Add([]byte(vector("1", "NaN")))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = worst(b) })
}
