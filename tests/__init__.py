"""Tests: `unit` golden examples, `properties` rules over generated histories, `contract` the store's promises."""
