// Package promql takes delays from a Prometheus server instead of from packets
// of one's own, for what is measured already, such as
//
//	histogram_quantile(0.95, rate(hubble_flow_latency_seconds_bucket[60s]))
//
// A query lags behind by its range and the scrape interval: it suits slow
// control and cross-checks. What does not yield a fresh, finite number is an
// error, never zero.
package promql

import (
	"bytes"
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

	"github.com/detnet/detnet/workload"
)

// What is wrong with a query that was answered.
var (
	errNoData = errors.New("no data")
	errStale  = errors.New("the data is too old")
)

// maxResponse is more than any sensible query returns, and maxReason more than
// anybody reads of why a query was refused.
const (
	maxResponse = 1 << 20
	maxReason   = 200
)

// source is a server to ask.
type source struct {
	Config
	client *http.Client
}

// delay asks the server. A query's own timestamp is that of its evaluation and
// tells nothing, so the age of each series that it reads is asked for first, by
// the server's clock.
func (s source) delay(ctx context.Context, q workload.Query) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	for _, series := range q.Selectors {
		age, err := s.ask(ctx, "time() - max(timestamp("+series+"))")
		if errors.Is(err, errNoData) {
			return 0, fmt.Errorf("%w: Prometheus has no present value of %s", errNoData, series)
		}
		if err != nil {
			return 0, fmt.Errorf("age of %s: %w", series, err)
		}
		if age > s.MaxAge.Seconds() {
			return 0, fmt.Errorf("%s: %w: %.0f s, at most %v is allowed", series, errStale, age, s.MaxAge)
		}
	}
	v, err := s.ask(ctx, q.Text)
	if errors.Is(err, errNoData) {
		return 0, fmt.Errorf("%w: the query yields no finite number", errNoData)
	}
	if err != nil {
		return 0, fmt.Errorf("query: %w", err)
	}
	unit := units[s.Unit]
	if v < 0 || v*float64(unit) > float64(time.Hour) {
		return 0, fmt.Errorf("query: %v %s is no delay; is the unit right?", v, s.Unit)
	}
	return time.Duration(v * float64(unit)), nil
}

// ask evaluates one query now and returns the largest finite number.
func (s source) ask(ctx context.Context, query string) (float64, error) {
	address := strings.TrimSuffix(s.URL, "/") + "/api/v1/query?" +
		url.Values{"query": {query}, "timeout": {s.Timeout.String()}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	token, err := bearer(s.TokenFile)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the rest repeats the query
		}
		return 0, fmt.Errorf("ask %s: %w", s.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return 0, fmt.Errorf("read the answer of %s: %w", s.URL, err)
	}
	if token != "" {
		// A server that repeats what it was sent does not get it into the log.
		body = bytes.ReplaceAll(body, []byte(token), []byte("…"))
	}
	v, err := worst(body)
	if err != nil && response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s%s: %w", s.URL, status(response), advice(response.StatusCode, token != ""), err)
	}
	return v, err
}

// status is the code and its usual text: what a server makes of the text is its
// own.
func status(r *http.Response) string {
	return fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
}

// advice says what to do about a refusal.
func advice(code int, withToken bool) string {
	switch {
	case code == http.StatusUnauthorized && !withToken:
		return " (set prometheus.tokenFile)"
	case code == http.StatusUnauthorized:
		return " (the token of prometheus.tokenFile is not accepted)"
	case code == http.StatusForbidden && withToken:
		return " (the token of prometheus.tokenFile is not allowed to query)"
	}
	return ""
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
		return 0, fmt.Errorf("refused: %.*s", maxReason, answer.Error)
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
		return 0, errNoData
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
