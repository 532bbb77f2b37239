"""The authors' own ablation of the Appearance Noise Prior, read off their published plot."""

# FVD by lambda and gamma from the plot `abalation_noise_font2.png` in the authors' project page repository,
# read by eye, about +-3. Neither the data set nor the number of videos is labelled.
GAMMAS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)
FVD: dict[float, tuple[float, ...]] = {
    0.0: (692, 635, 576, 555, 572, 635),
    0.03: (626, 551, 508, 559, 635, 747),
    0.1: (608, 540, 525, 550, 600, 680),
}
