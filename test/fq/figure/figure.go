// Package figure is what the guest of the fq tests prints and its host reads.
package figure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Figure is what one run of a scenario gave. Rates are in Mbit/s at the
// receiver with headers, times in milliseconds, volumes in kilobytes.
type Figure struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"` // which of its variants
	Values   Values `json:"values"`
}

// Values are figures by name.
type Values map[string]float64

// Words at the beginning of a line.
const (
	word = "FIGURE "
	End  = "THE END" // everything was played
)

// Print writes f as a line.
func Print(w io.Writer, f Figure) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, word+string(text))
	return err
}

// Read takes the figures out of what a guest printed. Whatever else it printed
// is in the error if it did not come to its end.
func Read(r io.Reader) ([]Figure, error) {
	var figures []Figure
	var rest []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		text, ok := strings.CutPrefix(line, word)
		switch {
		case line == End:
			return figures, nil
		case !ok:
			rest = append(rest, line)
			continue
		}
		var f Figure
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return nil, fmt.Errorf("read a figure: %w", err)
		}
		figures = append(figures, f)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return figures, fmt.Errorf("the guest did not come to its end; it printed:\n%s", strings.Join(rest, "\n"))
}
