"""An optimizer plugin to copy: Lion under the name ``lion_template``."""
