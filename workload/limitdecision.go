package workload

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Order tells which of two decisions about a limit is the newer, whoever made
// them and by whichever road they come. The zero Order is older than any.
type Order struct {
	// Term is greater for each leader than for the one before.
	Term uint64
	// Sequence counts the decisions of one leader, from 1.
	Sequence uint64
}

// Compare is -1 if o is the older.
func (o Order) Compare(p Order) int {
	return cmp.Or(cmp.Compare(o.Term, p.Term), cmp.Compare(o.Sequence, p.Sequence))
}

// IsZero reports that o is no decision's.
func (o Order) IsZero() bool { return o == Order{} }

func (o Order) String() string {
	return strconv.FormatUint(o.Term, 10) + "." + strconv.FormatUint(o.Sequence, 10)
}

// ParseOrder reads what String writes.
func ParseOrder(text string) (Order, error) {
	term, sequence, _ := strings.Cut(text, ".")
	t, errTerm := strconv.ParseUint(term, 10, 64)
	s, errSequence := strconv.ParseUint(sequence, 10, 64)
	if errTerm != nil || errSequence != nil {
		return Order{}, fmt.Errorf("%q must be a term and a number within it, such as 7.42", text)
	}
	return Order{t, s}, nil
}

// DecisionText is the value of AnnotationLimitDecision beside an egress annotation: "7.42 50M".
func DecisionText(o Order, egress string) string { return o.String() + " " + egress }

// DecidedOrder reads AnnotationLimitDecision beside an egress annotation. It is false
// where the annotation is not what that decision wrote: somebody else has
// changed it since.
func DecidedOrder(decision, egress string) (Order, bool) {
	order, of, ok := strings.Cut(decision, " ")
	if !ok || of != egress || egress == "" {
		return Order{}, false
	}
	o, err := ParseOrder(order)
	return o, err == nil && !o.IsZero()
}
