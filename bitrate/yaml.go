package bitrate

// UnmarshalYAML reads a rate from a configuration file, in the form of Parse.
func (r *Rate) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	parsed, err := Parse(text)
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// MarshalYAML writes a rate in the form of String.
func (r Rate) MarshalYAML() (any, error) { return r.String(), nil }
