#![cfg_attr(fuzzing, no_main)]

wristband_fuzz::target!(cookie_headers);
