package workload

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Query is a PromQL query that yields a delay, such as
//
//	histogram_quantile(0.95, rate(hubble_flow_latency_seconds_bucket[60s]))
type Query struct {
	Text string
	// Range is how far back the query looks: its longest range, and that of a
	// subquery besides. 0 if it looks at the newest values only.
	Range time.Duration
	// Selectors are the series that the query reads, without ranges, each once.
	Selectors []string
}

// MaxQuery is the longest query, in octets.
const MaxQuery = 4096

// maxSelectors bounds how many series one query may read.
const maxSelectors = 8

// ParseQuery reads as much of a query as must be known before Prometheus is
// asked: which series it reads and how far back. Whether it is PromQL in every
// detail is for Prometheus to say.
func ParseQuery(text string) (Query, error) {
	text = strings.TrimSpace(text)
	q := Query{Text: text}
	switch {
	case text == "":
		return Query{}, errors.New("an empty query; give PromQL, such as histogram_quantile(0.95, rate(x_bucket[60s]))")
	case len(text) > MaxQuery:
		return Query{}, fmt.Errorf("a query of %d octets; at most %d are taken", len(text), MaxQuery)
	case !utf8.ValidString(text):
		return Query{}, errors.New("a query that is not UTF-8")
	}
	s := scanner{text: text, query: &q}
	if err := s.scan(); err != nil {
		return Query{}, fmt.Errorf("query %.60q: %w", text, err)
	}
	if len(q.Selectors) == 0 {
		return Query{}, fmt.Errorf("query %.60q reads no series", text)
	}
	if n := len(q.Selectors); n > maxSelectors {
		return Query{}, fmt.Errorf("query %.60q reads %d series; at most %d are taken", text, n, maxSelectors)
	}
	q.Range = s.longest + s.subquery
	return q, nil
}

// scanner goes through a query once and notes its selectors and ranges.
type scanner struct {
	text  string
	query *Query
	open  []bracket
	// series is where the selector began that the text before pos may be; -1:
	// there is none.
	series            int
	labels            bool // the next parenthesis holds names of labels
	longest, subquery time.Duration
}

// bracket is one that is open.
type bracket struct {
	closing byte
	labels  bool
}

var (
	word     = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	literal  = regexp.MustCompile(`^[0-9][0-9a-zA-Z_.]*`)
	variable = regexp.MustCompile(`^\$\{?\w*\}?`)
	seconds  = regexp.MustCompile(`^[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$|^0[xX][0-9a-fA-F]+$`)
	spaces   = regexp.MustCompile(`^(?:[ \t\r\n]+|#[^\n]*)+`)
	duration = regexp.MustCompile(`^(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?$`)
)

// Words that are not series: those before a list of labels, and the rest.
var (
	listing = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	keyword = []string{"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan",
		"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile", "limitk", "limit_ratio"}
)

func (s *scanner) scan() error {
	s.series = -1
	for pos := 0; pos < len(s.text); {
		next, err := s.token(pos)
		if err != nil {
			return err
		}
		pos = next
	}
	if len(s.open) > 0 {
		return fmt.Errorf("%q is missing at the end", s.open[len(s.open)-1].closing)
	}
	s.endSeries(len(s.text))
	return nil
}

// token takes in what begins at pos and returns where the next begins.
func (s *scanner) token(pos int) (int, error) {
	rest := s.text[pos:]
	if length := len(spaces.FindString(rest)); length > 0 {
		return pos + length, nil
	}
	switch c := rest[0]; c {
	case '"', '\'', '`':
		return s.quoted(pos)
	case '{':
		s.startSeries(pos)
		s.open = append(s.open, bracket{'}', true})
		return pos + 1, nil
	case '(':
		s.endSeries(pos)
		s.open = append(s.open, bracket{')', s.labels || s.inLabels()})
		s.labels = false
		return pos + 1, nil
	case '[':
		return s.rangeAt(pos)
	case ')', '}':
		if len(s.open) == 0 || s.open[len(s.open)-1].closing != c {
			return 0, fmt.Errorf("an unexpected %q at octet %d", c, pos)
		}
		if c == ')' {
			s.endSeries(pos)
		}
		s.open = s.open[:len(s.open)-1]
		return pos + 1, nil
	case '$':
		return 0, fmt.Errorf("%s is a variable of Grafana, which Prometheus does not know; write its value, such as 1m for a range", variable.FindString(rest))
	case ']':
		return 0, fmt.Errorf("an unexpected %q at octet %d", c, pos)
	}
	if number := literal.FindString(rest); number != "" {
		s.endSeries(pos)
		return pos + len(number), nil
	}
	if name := word.FindString(rest); name != "" {
		s.word(pos, name)
		return pos + len(name), nil
	}
	s.endSeries(pos)
	_, size := utf8.DecodeRuneInString(rest)
	return pos + size, nil
}

func (s *scanner) inLabels() bool { return len(s.open) > 0 && s.open[len(s.open)-1].labels }

// word begins a selector unless it is a keyword, a label or a function, which
// has its parenthesis behind it.
func (s *scanner) word(pos int, name string) {
	if s.inLabels() {
		return
	}
	s.endSeries(pos)
	lower := strings.ToLower(name)
	s.labels = slices.Contains(listing, lower)
	rest := s.text[pos+len(name):]
	call := strings.HasPrefix(rest[len(spaces.FindString(rest)):], "(")
	if !s.labels && !call && !slices.Contains(keyword, lower) {
		s.series = pos
	}
}

func (s *scanner) startSeries(pos int) {
	if s.series < 0 && !s.inLabels() {
		s.series = pos
	}
}

// endSeries notes the selector that ends before pos, if one does.
func (s *scanner) endSeries(pos int) {
	if s.series < 0 || s.inLabels() {
		return
	}
	selector := strings.TrimSpace(s.text[s.series:pos])
	s.series = -1
	if !slices.Contains(s.query.Selectors, selector) {
		s.query.Selectors = append(s.query.Selectors, selector)
	}
}

// quoted returns the end of a string.
func (s *scanner) quoted(pos int) (int, error) {
	quote := s.text[pos]
	for end := pos + 1; end < len(s.text); end++ {
		switch {
		case s.text[end] == quote:
			return end + 1, nil
		case s.text[end] == '\\' && quote != '`':
			end++
		}
	}
	return 0, fmt.Errorf("the string at octet %d has no end", pos)
}

// rangeAt reads "[60s]" or a subquery's "[1h:1m]".
func (s *scanner) rangeAt(pos int) (int, error) {
	length := strings.IndexByte(s.text[pos:], ']')
	if length < 0 {
		return 0, fmt.Errorf("the range at octet %d has no end", pos)
	}
	text, _, isSubquery := strings.Cut(s.text[pos+1:pos+length], ":")
	if dollar := strings.IndexByte(text, '$'); dollar >= 0 {
		return s.token(pos + 1 + dollar)
	}
	d, err := parseRange(strings.TrimSpace(text))
	if err != nil {
		return 0, err
	}
	if isSubquery {
		s.subquery = max(s.subquery, d)
	} else {
		if s.series < 0 {
			return 0, fmt.Errorf("the range at octet %d follows no series", pos)
		}
		s.longest = max(s.longest, d)
	}
	s.endSeries(pos)
	return pos + length + 1, nil
}

// maxRange is the longest range: more says nothing about now, and costs the
// server that is shared.
const maxRange = 24 * time.Hour

// parseRange reads a duration of PromQL: units in their order, or a number of
// seconds (Prometheus 3).
func parseRange(text string) (time.Duration, error) {
	if seconds.MatchString(text) {
		n, err := strconv.ParseFloat(text, 64)
		if hex, errHex := strconv.ParseUint(text, 0, 32); errHex == nil && strings.ContainsAny(text, "xX") {
			n, err = float64(hex), nil
		}
		if d := time.Duration(n * float64(time.Second)); err == nil && n <= maxRange.Seconds() && d > 0 {
			return d, nil
		}
	}
	parts := duration.FindStringSubmatch(text)
	if text != "" && parts != nil {
		const day = 24 * time.Hour
		var sum float64
		for i, unit := range []time.Duration{365 * day, 7 * day, day, time.Hour, time.Minute, time.Second, time.Millisecond} {
			n, _ := strconv.ParseFloat(parts[i+1], 64) // digits, or nothing
			sum += n * float64(unit)
		}
		if sum > 0 && sum <= float64(maxRange) {
			return time.Duration(sum), nil
		}
	}
	return 0, fmt.Errorf("range [%s] must be a duration of up to 1d, such as 60s", text)
}
