package main

import (
	"fmt"
	"slices"
	"strings"
)

// choice is the value of a flag that is one of a few, or as it was.
type choice struct {
	of    *string
	known []string
}

func (c *choice) String() string { return *c.of }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(text string) error {
	if text != *c.of && !slices.Contains(c.known, text) {
		return fmt.Errorf("want %s", oneOf(c.known))
	}
	*c.of = text
	return nil
}

// oneOf lists what there is to choose from.
func oneOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// format is the value of --output: one of those that are known, the first where it is not given.
func format(to *string, known ...string) *choice {
	*to = known[0]
	return &choice{to, known}
}
