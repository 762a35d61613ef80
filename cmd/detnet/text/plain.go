package text

import (
	"bytes"
	"io"
	"unicode"
)

// Plain returns a writer of text that leaves out of it what would steer a terminal: much of
// what is shown is what tenants wrote, or what nodes say.
func Plain(w io.Writer) io.Writer { return plain{w} }

type plain struct{ to io.Writer }

// Write implements io.Writer. No rune is to be cut in two.
func (p plain) Write(b []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, b)
	if _, err := p.to.Write(shown); err != nil {
		return 0, err
	}
	return len(b), nil
}
