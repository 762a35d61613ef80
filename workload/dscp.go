package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// DSCP is a differentiated services codepoint, 0…63 (RFC 2474). The zero value
// is default forwarding.
type DSCP uint8

// MaxDSCP is the largest codepoint: the field has six bits.
const MaxDSCP = 63

// named are the codepoints that have names: default forwarding and the class
// selectors (RFC 2474), assured forwarding (RFC 2597), expedited forwarding
// (RFC 3246), VOICE-ADMIT (RFC 5865) and lower effort (RFC 8622).
var named = map[DSCP]string{
	0: "DF", 1: "LE",
	8: "CS1", 16: "CS2", 24: "CS3", 32: "CS4", 40: "CS5", 48: "CS6", 56: "CS7",
	10: "AF11", 12: "AF12", 14: "AF13",
	18: "AF21", 20: "AF22", 22: "AF23",
	26: "AF31", 28: "AF32", 30: "AF33",
	34: "AF41", 36: "AF42", 38: "AF43",
	44: "VOICE-ADMIT", 46: "EF",
}

// String is the codepoint's name, or its number where it has none.
func (d DSCP) String() string {
	if name, ok := named[d]; ok {
		return name
	}
	return strconv.Itoa(int(d))
}

// ParseDSCP reads a number from 0 to 63 or a name, such as EF, in any case.
func ParseDSCP(text string) (DSCP, error) {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n <= MaxDSCP {
		return DSCP(n), nil
	}
	if strings.EqualFold(text, "CS0") {
		return 0, nil
	}
	for d, name := range named {
		if strings.EqualFold(text, name) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q must be a number from 0 to %d or one of DF, CS0 to CS7, AF11 to AF43, EF, VOICE-ADMIT, LE", text, MaxDSCP)
}
