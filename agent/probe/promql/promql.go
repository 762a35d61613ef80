// Package promql takes a delay from a Prometheus server instead of from packets
// of one's own, for what is measured already, such as
//
//	histogram_quantile(0.95, rate(http_request_duration_seconds_bucket{app="robot"}[60s]))
//
// A query lags behind by its range and the scrape interval: it suits slow
// control and cross-checks. What does not yield a fresh, finite number is an
// error, never zero.
package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Errors of a query that was answered.
var (
	ErrNoData = errors.New("the query yields no number")
	ErrStale  = errors.New("the data behind the query is too old")
)

// Source is a query and where to ask it.
type Source struct {
	URL   string // of the server, such as http://prometheus.monitoring:9090
	Query string // yields a scalar or a vector; of several series the worst counts
	// Unit is what the query's numbers count: time.Second or time.Millisecond.
	Unit time.Duration
	// Freshness, if not empty, is a query that yields the time of the newest
	// data in seconds since 1970, such as max(timestamp(up{job="robot"})). A
	// query's own timestamp is that of its evaluation and tells nothing.
	Freshness string
	MaxAge    time.Duration // of that data; zero means DefaultMaxAge
	Client    *http.Client  // nil: http.DefaultClient
}

// DefaultMaxAge is two scrapes at the usual interval.
const DefaultMaxAge = time.Minute

// maxResponse is more than any sensible query returns.
const maxResponse = 1 << 20

// Delay asks the server. now judges the data's age.
func (s Source) Delay(ctx context.Context, now time.Time) (time.Duration, error) {
	if s.Unit != time.Second && s.Unit != time.Millisecond {
		return 0, fmt.Errorf("query %q: unit %v must be a second or a millisecond", s.Query, s.Unit)
	}
	if s.Freshness != "" {
		newest, err := s.ask(ctx, s.Freshness, now)
		if err != nil {
			return 0, err
		}
		maxAge := s.MaxAge
		if maxAge == 0 {
			maxAge = DefaultMaxAge
		}
		if age := now.Sub(time.UnixMilli(int64(newest * 1000))); age > maxAge {
			return 0, fmt.Errorf("query %q: %w: %v, at most %v is allowed", s.Freshness, ErrStale, age.Round(time.Second), maxAge)
		}
	}
	v, err := s.ask(ctx, s.Query, now)
	if err != nil {
		return 0, err
	}
	if v < 0 || v*float64(s.Unit) > float64(time.Hour) {
		return 0, fmt.Errorf("query %q: %v in units of %v is no delay; is the unit right?", s.Query, v, s.Unit)
	}
	return time.Duration(v * float64(s.Unit)), nil
}

// ask evaluates one query at now and returns the largest finite number.
func (s Source) ask(ctx context.Context, query string, now time.Time) (float64, error) {
	address := strings.TrimSuffix(s.URL, "/") + "/api/v1/query?" + url.Values{
		"query": {query}, "time": {strconv.FormatFloat(float64(now.UnixMilli())/1000, 'f', 3, 64)},
	}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, fmt.Errorf("query %q: %w", query, err)
	}
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("query %q: %w", query, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return 0, fmt.Errorf("query %q: read the answer: %w", query, err)
	}
	worst, err := worst(body)
	if err != nil {
		return 0, fmt.Errorf("query %q: %s: %w", query, response.Status, err)
	}
	return worst, nil
}

// worst reads the answer of Prometheus's HTTP API (/api/v1/query).
func worst(body []byte) (float64, error) {
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("not an answer of Prometheus: %w", err)
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("refused: %s", answer.Error)
	}
	var points []struct{ Value point }
	switch answer.Data.ResultType {
	case "vector":
		if err := json.Unmarshal(answer.Data.Result, &points); err != nil {
			return 0, fmt.Errorf("read the vector: %w", err)
		}
	case "scalar":
		points = make([]struct{ Value point }, 1)
		if err := json.Unmarshal(answer.Data.Result, &points[0].Value); err != nil {
			return 0, fmt.Errorf("read the scalar: %w", err)
		}
	default:
		return 0, fmt.Errorf("yields a %s, want a vector or a scalar", answer.Data.ResultType)
	}
	result, any := math.Inf(-1), false
	for _, p := range points {
		if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
			result, any = max(result, v), true
		}
	}
	if !any {
		return 0, ErrNoData
	}
	return result, nil
}

// point is [time, "value"].
type point float64

func (p *point) UnmarshalJSON(b []byte) error {
	var pair [2]any
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	text, ok := pair[1].(string)
	if !ok {
		return fmt.Errorf("value %v is not a string", pair[1])
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	*p = point(v)
	return nil
}
