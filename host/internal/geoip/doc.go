// Package geoip finds where an address is, in a file of MaxMind's format.
//
// It says city, region and country as far as the file knows them, in English;
// it keeps no address.
package geoip
