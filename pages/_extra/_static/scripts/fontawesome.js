// Takes the place of the theme's file of this name, 1.5 MB that draw the icons a second time as pictures: the theme's
// style sheet draws them already, with its icon fonts. Files under _extra/ are copied last.
